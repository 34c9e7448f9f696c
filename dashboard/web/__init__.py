"""What every page needs: templates, lists, htmx, security headers, sign-in throttling."""
