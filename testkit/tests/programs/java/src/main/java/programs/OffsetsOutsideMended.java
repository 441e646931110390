package programs;

import java.time.Duration;
import java.util.List;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;

/** Writes results and offsets in one transaction. A failure ends the process: its successor aborts the rest. */
public class OffsetsOutsideMended {
    public static void main(String[] arguments) throws Exception {
        App.run(OffsetsOutsideMended::copy);
    }

    static void copy(KafkaConsumer<String, String> consumer, KafkaProducer<String, String> producer) throws Exception {
        producer.initTransactions();
        consumer.subscribe(List.of("jobs"));
        while (true) {
            var records = consumer.poll(Duration.ofMillis(200));
            if (records.isEmpty()) {
                continue;
            }
            producer.beginTransaction();
            for (var record : records) {
                producer.send(new ProducerRecord<>("results", record.key(), App.work(record.value())));
            }
            producer.sendOffsetsToTransaction(records.nextOffsets(), consumer.groupMetadata());
            producer.commitTransaction();
        }
    }
}
