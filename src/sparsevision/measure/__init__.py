"""Costs of models: multiply-adds, time, memory, each beside a peer and with the machine that it was measured on."""
