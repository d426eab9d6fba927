"""Jobs in, jobs done: what is left to do after the answer."""
