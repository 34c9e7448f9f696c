# The console: `serve` by default, `worker` and `db upgrade` by another command. See compose.yaml.
FROM python:3.11-slim AS build
WORKDIR /src
# With --build-arg REQUIREMENTS=requirements-extras.txt, Sentry and OpenTelemetry are in it.
ARG REQUIREMENTS=requirements.txt
COPY requirements.txt requirements-extras.txt ./
RUN python -m venv /console && /console/bin/pip install --no-cache-dir --require-hashes -r $REQUIREMENTS
COPY pyproject.toml README.md wsgi.py ./
COPY dashboard ./dashboard
COPY templates ./templates
COPY static ./static
COPY playbook ./playbook
COPY masks.ini ./
COPY messages ./messages
# The version is that of the tag or commit. Files that are not sent here count as they are there, not as removed.
RUN apt-get update && apt-get install --yes --no-install-recommends git && rm -rf /var/lib/apt/lists/*
COPY .git ./.git
RUN git ls-files -z | git update-index -z --skip-worktree --stdin
RUN /console/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim
# For backup and restore; of PostgreSQL's version in compose.yaml, or a newer one.
RUN apt-get update && apt-get install --yes --no-install-recommends postgresql-client && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --no-create-home console && install -d -o console -m 700 /data /data/console /data/copies /data/backups
COPY --from=build /console /console
USER console
WORKDIR /data
ENV PATH=/console/bin:$PATH DASHBOARD_DATA=/data/console PYTHONDONTWRITEBYTECODE=1
EXPOSE 8900
ENTRYPOINT ["dashboard"]
CMD ["serve", "--host=0.0.0.0"]
