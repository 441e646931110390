//! A fake SMTP server.
