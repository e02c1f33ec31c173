"""Judgments in, a judge out."""
