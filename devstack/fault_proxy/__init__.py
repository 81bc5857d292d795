"""An HTTP proxy in front of a control plane, for answers that a real one cannot be made to give.

`faults` (pure: what is ordered) ▸ `forward` (what a request gets) ▸ `__main__` (orders over HTTP);
`client` starts one, alone or with the control plane behind it.
"""
