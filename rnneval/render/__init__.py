"""Values in, strings or figures out: nothing here computes, and nothing here touches the disk."""
