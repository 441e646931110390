package programs;

import java.time.Duration;
import java.util.List;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.TimeoutException;

/**
 * Commits offsets in its transactions as the member that it is, so that the broker refuses those of a
 * member that has lost its partitions. Such a transaction is aborted, and the group's position counts.
 */
public class RebalanceIgnoredMended {
    public static void main(String[] arguments) throws Exception {
        App.run(RebalanceIgnoredMended::copy);
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
            try {
                write(records, consumer, producer);
                producer.commitTransaction();
            } catch (ProducerFencedException | TimeoutException unknown) {
                throw unknown;
            } catch (KafkaException refused) {
                System.err.println("aborted: " + refused.getMessage());
                producer.abortTransaction();
                rewind(consumer);
            }
        }
    }

    static void write(ConsumerRecords<String, String> records, KafkaConsumer<String, String> consumer,
            KafkaProducer<String, String> producer) throws Exception {
        for (var record : records) {
            producer.send(new ProducerRecord<>("results", record.key(), App.work(record.value())));
        }
        producer.sendOffsetsToTransaction(records.nextOffsets(), consumer.groupMetadata());
    }

    static void rewind(KafkaConsumer<String, String> consumer) {
        consumer.committed(consumer.assignment()).forEach((partition, committed) ->
                consumer.seek(partition, committed == null ? new OffsetAndMetadata(0) : committed));
    }
}
