"""Which replica a call goes to, and which are left alone for a while: pure, for gateway and simulator alike."""
