"""What is asked of registries beside pulling and pushing: logins, searches, lists of manifests."""
