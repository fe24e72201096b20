# The page and REST in a container, on the CPU:
#   docker build -t infilling . && docker run --rm -p 8000:8000 -e INFILLING_TOKEN=… infilling
FROM python:3.13-slim

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
WORKDIR /app
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY src ./src
RUN pip install --constraint constraints.txt '.[serve]' && rm -rf /app/*
RUN useradd --system --create-home --uid 10001 infilling
USER infilling
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD python -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"
ENTRYPOINT ["infill"]
CMD ["serve", "--host", "0.0.0.0"]
