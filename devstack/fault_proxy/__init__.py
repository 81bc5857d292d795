"""An HTTP proxy in front of a control plane, for what a real one cannot be made to answer.

`faults` (pure: what is ordered) ▸ `forward` (what a request gets) ▸ `__main__` (orders over HTTP);
`client` starts one, alone or with the control plane behind it.
"""
