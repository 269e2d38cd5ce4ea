"""Search a space under a budget: prepare, propose, judge, finish; the study is stored as it goes."""
