"""What scores rows in an executor of Spark: the code and the served form that were sent there.

An executor needs no installation of StreamFlow: its code comes as an archive, named by its hash,
and the served form as another. Both are packed here and read here.
"""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from streamflow.features.engines.row_columns import row_batch
from streamflow.registry.records import ModelVersion
from streamflow.scores.scorer import Scorer
from streamflow.serving.feature_status import Clock
from streamflow.serving.scoring import Served
from streamflow.training import served_model
from streamflow.training.served_model import FeatureSchema, ServedModel

if TYPE_CHECKING:
    import pyarrow as pa

# Of a scored row in Spark's SQL.
SCORED = "unfinished_id bigint, entity_id string, probability double, label bigint, problem string"
# What an executor says if it can't score begins so.
CANNOT = "This executor can't score: "
# The packages whose versions decide the bits of a score, by the file of the served form.
_DECIDE = {
    "model.onnx": ("numpy", "onnxruntime"),
    "model.lightgbm.txt": ("lightgbm", "numpy"),
    "model.xgboost.json": ("numpy", "xgboost-cpu"),
}
_CONSTANT = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class RemoteScorer:
    """How rows are scored in an executor. `archive` is the name of the served form's file there,
    and `versions` has by package what scores in the driver; `joined` is the schema of the rows."""

    archive: str
    model_hash: str
    versions: Mapping[str, str]
    version: ModelVersion
    joined: FeatureSchema
    clock: Clock
    stale_features: Literal["refuse", "warn"]
    unfinished_id: int

    def scored(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The scores of the joined rows, as `Scorer` makes them in the driver, in the columns of
        SCORED. Raises RuntimeError if this executor would score otherwise."""
        import pyarrow as pa

        scorer = None
        for batch in batches:
            if not batch.num_rows:
                continue
            if scorer is None:
                served = Served(self.version, _model(self))
                scorer = Scorer(served, self.clock, self.stale_features, self.unfinished_id)
            table = scorer.scored(row_batch(batch, self.joined))
            place = table.schema.get_field_index("entity_id")
            names = table["entity_id"].cast(pa.string())
            yield from table.set_column(place, "entity_id", names).to_batches()


def pack(files: Mapping[str, Path], folder: Path, name: str) -> Path:
    """An archive of the files by their paths in it, as `name` with the hash of its content. The
    same files make the same archive."""
    content = hashlib.sha256()
    temporary = folder / f"{name}.partial"
    with zipfile.ZipFile(temporary, "w") as archive:
        for path, file in sorted(files.items()):
            one = file.read_bytes()
            content.update(f"{path}\0{len(one)}\0".encode() + one)
            archive.writestr(zipfile.ZipInfo(path, _CONSTANT), one)
    return temporary.replace(folder / f"{name}-{content.hexdigest()}.zip")


def versions_of(folder: Path) -> dict[str, str]:
    """The installed versions of what scores by the served form in `folder`."""
    form = next(name for name in served_model.FORMS if (folder / name).exists())
    names = {*_DECIDE[form]}
    if (folder / served_model.COLUMNS_FILE).exists():
        names |= {*_DECIDE["model.onnx"]}
    return {name: metadata.version(name) for name in sorted(names)}


_models: dict[str, ServedModel] = {}


def _model(scorer: RemoteScorer) -> ServedModel:
    """The served form, loaded once in each process."""
    # A process of an executor outlives a scoring: the next may come from another installation.
    _require_versions(scorer.versions)
    if scorer.model_hash not in _models:
        from feast_spark.shipping import shipped

        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            with zipfile.ZipFile(shipped(scorer.archive)) as archive:
                archive.extractall(folder)
            found = served_model.digest(folder)
            if found != scorer.model_hash:
                raise RuntimeError(f"{CANNOT}the model came there as {found[:12]}")
            _models.clear()
            _models[scorer.model_hash] = served_model.load(folder)
    return _models[scorer.model_hash]


def _require_versions(wanted: Mapping[str, str]) -> None:
    for name, version in wanted.items():
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = "not installed"
        if found != version:
            raise RuntimeError(f"{CANNOT}{name} is {found} there, and {version} here")
