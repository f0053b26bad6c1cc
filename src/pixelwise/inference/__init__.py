"""Prediction for every task, on pictures of any size."""
