"""Models on a DataFrame with the features' own types, and their served form.

The encoded matrix stays what is trained on, hashed and served; here it is turned back into columns
with names and types. A pipeline's steps that work column by column are written as one ONNX graph
from the encoded matrix to the matrix that the rest of the pipeline takes.
"""
