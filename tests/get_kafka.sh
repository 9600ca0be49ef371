#!/bin/sh
# Fetches the jars of Apache Kafka with maven into DIR/libs, for the tests over tests/kafka_broker.py's ApacheKafka.
set -eu

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "usage: $0 DIR [VERSION]" >&2
    exit 2
fi
version=${2:-3.9.1}
mkdir -p "$1/libs"
libs=$(cd "$1/libs" && pwd)

if [ -e "$libs/kafka_2.13-$version.jar" ]; then
    exit 0
fi
command -v mvn >/dev/null || { echo "$0 needs maven (mvn) to fetch Apache Kafka" >&2; exit 1; }

project=$(mktemp -d)
trap 'rm -rf "$project"' EXIT
cat >"$project/pom.xml" <<POM
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>andon</groupId>
  <artifactId>kafka-for-tests</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>$version</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
POM
cd "$project"
mvn --quiet --batch-mode dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$project/libs"
rm -f "$libs"/*.jar
# the one that is looked for comes last: what was broken off is not taken for complete
mv "$project/libs/kafka_2.13-$version.jar" "$project/main.jar"
mv "$project/libs"/*.jar "$libs/"
mv "$project/main.jar" "$libs/kafka_2.13-$version.jar"
