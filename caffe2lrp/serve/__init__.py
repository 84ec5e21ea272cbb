"""A local page to explain pictures with: `state` holds the network and pictures, `app` answers the browser."""
