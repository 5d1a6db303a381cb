# koniq serve in a container. Never built here, for want of Docker: tests/test_dockerfile.py runs its RUN lines and its
# CMD in a new environment of Python.
#
#   docker build --tag koniq .
#   docker run --publish 127.0.0.1:8512:8512 --env KONIQ_TOKEN=a-secret-of-yours koniq
#
# Without KONIQ_TOKEN a token is made up and printed. Weights of one's own: --volume trained_models:/data/trained_models
FROM python:3.13-slim
WORKDIR /src
COPY . .
RUN python -m pip install --no-cache-dir --constraint requirements/scoring.txt --constraint requirements/serve.txt ".[serve]"
ENV KONIQ_HOME=/data XDG_CACHE_HOME=/tmp/cache
WORKDIR /tmp
USER 1000:1000
EXPOSE 8512
HEALTHCHECK CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8512/healthz')"]
CMD ["koniq", "serve", "--host", "0.0.0.0"]
