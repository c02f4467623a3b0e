from streamflow.workspace.workspace import Workspace as Workspace
from streamflow.workspace.workspace import open as open

__version__: str
__all__ = ["Workspace", "__version__", "open"]
