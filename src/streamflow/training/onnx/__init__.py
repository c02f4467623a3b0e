"""scikit-learn's forests and trees, written to ONNX so that every score keeps its bits."""
