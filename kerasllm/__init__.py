"""kerasllm: the layers, models and data loaders behind the course "from a perceptron to a GPT".

Import the part you need, for example ``from kerasllm import data``. Importing the package itself
loads nothing, touches no file and opens no connection.
"""

__version__ = "0.1.0"
