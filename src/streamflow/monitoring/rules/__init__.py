"""The rules that raise alarms: figures and the use case's bounds in, alarms out."""
