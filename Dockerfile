# docker build -t berth-scheduler:0.1.0 .
FROM python:3.11-slim AS build
WORKDIR /source
COPY setup.py pyproject.toml README.md ./
COPY grammar grammar
COPY engine engine
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir /wheels/*.whl
# The root file system is read-only in deploy/, so there is nowhere to write byte code to.
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
ENTRYPOINT ["berth"]
