"""Prediction: pictures of any size in, answers out, whatever the task."""
