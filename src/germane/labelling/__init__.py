"""Any judge over any number of pairs: committed blocks, resume, and what it cost."""
