"""Parts that models share, one idea a file; operators with a plain and a fast form stand behind one function."""
