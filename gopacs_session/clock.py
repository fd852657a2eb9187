"""The clocks of the package, in one place, so that a test can set them all."""

from time import monotonic as monotonic
from time import sleep as sleep
from time import time as time
