"""The torch room: it obeys recipes and placements, decides nothing, and lets no device tensor out."""
