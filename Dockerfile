# dynml with PyTorch for the CPU:
#   docker build -t dynml .
#   docker run --rm -v "$PWD:/data" dynml train hmm experiments my_hmm store.hdf5 signals --model.n_states 6
FROM python:3.12-slim

RUN pip install --no-cache-dir torch --index-url https://download.pytorch.org/whl/cpu
COPY . /source
RUN pip install --no-cache-dir "/source[all]" && rm -rf /source

# Compiled loops are kept here; a folder mounted in its place keeps them between containers.
ENV NUMBA_CACHE_DIR=/tmp/dynml_numba MPLBACKEND=Agg
WORKDIR /data
ENTRYPOINT ["dynml"]
CMD ["--help"]
