"""What plays a source at its own pace."""
