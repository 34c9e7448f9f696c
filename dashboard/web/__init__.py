"""What every page needs: templates, lists, htmx, security headers, login throttling."""
