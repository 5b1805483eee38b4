# The broker in a container, as an account without rights.
#
#   docker build -t atollmq .
#   docker run -v ./atoll.yaml:/etc/atoll/atoll.yaml:ro -p 1883:1883 atollmq
#
# Without a configuration it can be reached from within the container alone. What is to be reached through -p listens on
# tcp://0.0.0.0:1883, with users or `anonymous: true`. Sockets for other containers go into /sockets, a volume that they
# share (examples/compose).

FROM node:20-slim AS build
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY tsconfig.json ./
COPY scripts/build.mjs scripts/
COPY src src
RUN node scripts/build.mjs

FROM node:20-slim
ENV NODE_ENV=production \
    XDG_CONFIG_HOME=/etc \
    XDG_RUNTIME_DIR=/run \
    XDG_DATA_HOME=/var/lib \
    XDG_STATE_HOME=/var/log
WORKDIR /opt/atoll
COPY package.json package-lock.json LICENSE ./
RUN npm ci --omit=dev --ignore-scripts \
    && npm cache clean --force \
    && ln -s /opt/atoll/dist/cli/main.js /usr/local/bin/atoll \
    && install -d -o node -g node -m 0755 /etc/atoll /run/atoll /sockets \
    && install -d -o node -g node -m 0700 /var/lib/atoll /var/log/atoll
COPY --from=build /src/dist dist
USER node
VOLUME /var/lib/atoll
EXPOSE 1883
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["atoll", "status"]
CMD ["atoll", "start"]
