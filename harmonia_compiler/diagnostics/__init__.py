"""What a user did wrong, as data: a code, a place, one sentence, one next step."""
