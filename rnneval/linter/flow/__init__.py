"""What happens to states in a file: a small abstract interpreter that gathers facts once, for all rules.

`values` are what a variable may hold, `naming` knows which names are recurrent layers, `machine` keeps scopes,
`statements`, `expressions`, `calling` and `looping` run the code, `layercall` runs a recurrent layer, `carry` pairs
what a function takes in with what it leaves for its next call. Nothing of the file that is read is imported or
executed.
"""
