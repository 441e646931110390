package programs;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** What the programs share: their clients, their work, and how they end. */
final class App {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Set<String> FAILED = new HashSet<>();

    interface Program {
        void run(KafkaConsumer<String, String> consumer, KafkaProducer<String, String> producer) throws Exception;
    }

    /** Runs until SIGTERM. Where it fails, the process ends with code 1, and who started it starts it again. */
    static void run(Program program) throws Exception {
        var main = Thread.currentThread();
        try (var consumer = consumer(); var producer = producer()) {
            Runtime.getRuntime().addShutdownHook(new Thread(() -> {
                consumer.wakeup();
                try {
                    main.join(5_000);
                } catch (InterruptedException interrupted) {
                    Thread.currentThread().interrupt();
                }
            }));
            program.run(consumer, producer);
        } catch (WakeupException stopped) {
            return;
        } catch (Exception failure) {
            failure.printStackTrace();
            // Without the shutdown hook, which would wait for this thread.
            Runtime.getRuntime().halt(1);
        }
    }

    private static KafkaConsumer<String, String> consumer() {
        return new KafkaConsumer<>(Map.<String, Object>of(
                "bootstrap.servers", System.getenv("KAFKA_BROKERS"),
                "group.id", "app",
                "enable.auto.commit", false,
                "auto.offset.reset", "earliest",
                "isolation.level", "read_committed",
                "max.poll.records", 5,
                "session.timeout.ms", 6000,
                "heartbeat.interval.ms", 200), new StringDeserializer(), new StringDeserializer());
    }

    private static KafkaProducer<String, String> producer() {
        var member = System.getenv().getOrDefault("SEARCH_MEMBER", "");
        // The same id after a restart, and no other member has it.
        return new KafkaProducer<>(Map.<String, Object>of(
                "bootstrap.servers", System.getenv("KAFKA_BROKERS"),
                "transactional.id", "app-" + member,
                "max.block.ms", 10_000), new StringSerializer(), new StringSerializer());
    }

    /** Does one job and returns its result. */
    static String work(String value) throws JsonProcessingException, InterruptedException {
        var job = JSON.readTree(value);
        var id = job.get("id").asText();
        Thread.sleep(job.path("takes_ms").asLong());
        if (job.path("fail").asText().equals("once") && FAILED.add(id)) {
            throw new IllegalStateException("job " + id + " fails once");
        }
        var result = new TreeMap<String, String>();
        result.put("id", id);
        result.put("text", job.get("text").asText().toUpperCase());
        return JSON.writeValueAsString(result);
    }

    private App() {}
}
