"""Files an administrator writes: policy files read and watched, system roots."""
