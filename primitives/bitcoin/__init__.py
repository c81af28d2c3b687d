"""Bitcoin's structures: headers, transactions, scripts, taproot, addresses, and our data on the chain."""
