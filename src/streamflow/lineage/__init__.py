"""What decided a model, as five fingerprints; a run reproduced, and two runs compared."""
