"""The local agent: takes samples from apps on this host, adds them up, hands them on."""
