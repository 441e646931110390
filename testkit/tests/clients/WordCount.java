import java.nio.file.Files;
import java.time.Duration;
import java.time.Instant;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Produced;

/**
 * Kafka Streams with exactly_once_v2: words are counted by two threads, over a repartition topic and
 * a changelog. The program is closed in the middle, and another one without its state goes on.
 *
 * <p>WordCount.java BOOTSTRAP PREFIX
 */
public class WordCount {
    static final int PARTITIONS = 3;
    static final int LINES = 200;
    static final Duration LIMIT = Duration.ofSeconds(90);

    final String bootstrap;
    final String prefix;
    final String lines;
    final String counts;
    final Map<String, Long> expected = new HashMap<>();

    WordCount(String bootstrap, String prefix) {
        this.bootstrap = bootstrap;
        this.prefix = prefix;
        lines = prefix + "-lines";
        counts = prefix + "-counts";
    }

    public static void main(String[] arguments) throws Exception {
        new WordCount(arguments[0], arguments[1]).run();
        System.out.println("ok      counts words exactly once, over a restart without state");
    }

    void run() throws Exception {
        try (var admin = Admin.create(Map.<String, Object>of("bootstrap.servers", bootstrap))) {
            var topics = List.of(lines, counts).stream().map(name -> new NewTopic(name, PARTITIONS, (short) 1));
            admin.createTopics(topics.toList()).all().get();
            try (var reader = reader()) {
                var found = new HashMap<String, Long>();
                for (var turn = 0; turn < 2; turn++) {
                    produce(turn);
                    try (var streams = streams(turn)) {
                        streams.start();
                        await(reader, found, streams);
                    }
                }
            }
            var partition = new TopicPartition(lines, 0);
            var offsets = admin.listConsumerGroupOffsets(prefix).partitionsToOffsetAndMetadata().get();
            if (offsets.get(partition) == null) {
                throw new AssertionError("no offset of " + partition + " in " + offsets);
            }
        }
    }

    void produce(int turn) {
        var settings = Map.<String, Object>of("bootstrap.servers", bootstrap, "compression.type", "lz4");
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (var line = 0; line < LINES; line++) {
                var words = List.of("every", "word" + line % 17, "turn" + turn);
                words.forEach(word -> expected.merge(word, 1L, Long::sum));
                producer.send(new ProducerRecord<>(lines, "line " + line, String.join(" ", words)));
            }
        }
    }

    KafkaStreams streams(int turn) throws Exception {
        var builder = new StreamsBuilder();
        builder.<String, String>stream(lines)
                .flatMapValues(line -> List.of(line.split(" ")))
                .groupBy((key, word) -> word)
                .count()
                .toStream()
                .to(counts, Produced.with(Serdes.String(), Serdes.Long()));
        var settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, prefix);
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        settings.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        settings.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, Files.createTempDirectory("word-count").toString());
        settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        var streams = new KafkaStreams(builder.build(), settings);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        return streams;
    }

    KafkaConsumer<String, Long> reader() {
        var settings = Map.<String, Object>of("bootstrap.servers", bootstrap, "isolation.level", "read_committed");
        var reader = new KafkaConsumer<>(settings, new StringDeserializer(), new LongDeserializer());
        var partitions = IntStream.range(0, PARTITIONS)
                .mapToObj(partition -> new TopicPartition(counts, partition));
        reader.assign(partitions.toList());
        reader.seekToBeginning(reader.assignment());
        return reader;
    }

    /** Reads until the counts are those that are expected; a count never goes back. */
    void await(KafkaConsumer<String, Long> reader, Map<String, Long> found, KafkaStreams streams) {
        var until = Instant.now().plus(LIMIT);
        while (!found.equals(expected)) {
            if (Instant.now().isAfter(until) || streams.state() == KafkaStreams.State.ERROR) {
                throw new AssertionError("Streams is " + streams.state() + "; found " + found + ", expected " + expected);
            }
            for (var record : reader.poll(Duration.ofMillis(100))) {
                var before = found.put(record.key(), record.value());
                if (before != null && before >= record.value()) {
                    throw new AssertionError(record.key() + " was " + before + ", then " + record.value());
                }
            }
        }
    }
}
