"""The sovereign tier: an OpenAI-compatible model server on your own hardware, run by Ray Serve.

``python -m ray_deploy`` starts it. It imports nothing of Farthing: any gateway can use it.
"""
