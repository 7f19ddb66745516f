"""What the local engine achieves, as ratios within one run."""
