"""From camera topics to pictures: which image belongs to which set, decoded, straightened, masked."""
