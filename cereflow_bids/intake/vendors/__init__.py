"""What each vendor's ASL series are and what their headers hold."""
