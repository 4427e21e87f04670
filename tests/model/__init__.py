"""A model of flows: random graphs and messages that say what is to happen to them, run against the laws.

`shapes` draws graphs and `loads` draws messages; `flows` builds the one, whose nodes obey the other; `world` watches
while they run; `oracle` says what a message comes to when nothing disturbs it; `machine` does to a flow whatever
users do; `laws` judges the result. `mutations` lists ways to break the kernel that all this has to notice.
"""
