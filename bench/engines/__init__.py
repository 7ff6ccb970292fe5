"""Engines that measurements hold side by side: what serves them, what asks them, and what is compared."""
