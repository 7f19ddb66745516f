"""What several pages of the studio share."""
