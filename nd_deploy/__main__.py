"""Lets `python -m nd_deploy` be `nd-deploy`."""

from nd_deploy.cli.main import main

if __name__ == "__main__":
    main()
