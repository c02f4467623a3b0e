"""What takes long or needs much memory, in a process of its own; what is told while it runs."""
