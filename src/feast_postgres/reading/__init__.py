"""What the offline store reads: the query of the point-in-time join, and rows as Arrow."""

__all__ = ["newest_rows", "point_in_time", "record_batches"]
