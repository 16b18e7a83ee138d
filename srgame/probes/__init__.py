"""What a network's channels do: each probe is a plain function (network, images, …) → tidy frame."""
